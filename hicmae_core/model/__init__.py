"""The HiCMAE model (paper section 3)."""
