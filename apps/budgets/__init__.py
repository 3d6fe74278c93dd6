"""What may be spent: budgets, balances, reservations."""
