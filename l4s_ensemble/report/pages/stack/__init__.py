"""The page of the stack."""
