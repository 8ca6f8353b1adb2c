"""What every command shares: options, checks, plan and identity."""
