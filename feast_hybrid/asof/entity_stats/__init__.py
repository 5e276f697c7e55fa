"""What is known of the entity rows before they are joined."""
