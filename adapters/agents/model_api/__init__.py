"""What the agents of model APIs share: server-sent events, replies, the loop over tools."""
