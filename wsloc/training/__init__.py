"""What every training shares: its loop, learning rate, record of epochs and folder."""
