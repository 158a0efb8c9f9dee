"""How guests' first boots go, by their reports, their serial line and their guest agent."""
