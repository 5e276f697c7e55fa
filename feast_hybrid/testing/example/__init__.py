"""What ``python -m feast_hybrid.testing up --repo FOLDER --example`` puts there: docs/quickstart.md has it all."""
