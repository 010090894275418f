"""The command line: what is answered before torch is imported, LightningCLI, and one file per command."""
