"""What phases and commands do alike while they run: errors, messages, progress, stops, locks, processes."""
