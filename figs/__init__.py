"""The paper's figures; run `make figs`."""
