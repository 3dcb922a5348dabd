"""Parts that every training shares: state, identity, history, schedules, working folder and tables of choices."""
