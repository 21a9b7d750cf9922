"""Several people read one study together: pages, a channel for each browser, and the room that joins them."""
