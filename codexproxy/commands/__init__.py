"""The commands of the CLI, one module each; `codexproxy.cli` lists them."""
