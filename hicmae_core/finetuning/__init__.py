"""Fine-tuning alone: an edit here reruns no pre-training."""
