"""What the commands on videos share: which files and frames, the video that is written, who is who in it."""
