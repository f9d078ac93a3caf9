"""What the agents of all providers share: settings, failures, deltas, approvals, processes."""
