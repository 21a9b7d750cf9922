"""A node as a member of a fleet: reports to the hub, does what it wishes and the site allows, watches its model."""
