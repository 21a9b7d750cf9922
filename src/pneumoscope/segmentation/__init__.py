"""Volume to masks: lungs, left and right, and lesions."""
