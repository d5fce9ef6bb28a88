"""Cloud provider interfaces. `contract.py` is what each one keeps; `registry.py` names them."""
