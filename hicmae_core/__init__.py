"""HiCMAE: the method. Knows no orchestrator."""
