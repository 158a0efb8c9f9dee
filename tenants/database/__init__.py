"""Django's PostgreSQL with the second wall: each transaction is told whose rows it may see."""
