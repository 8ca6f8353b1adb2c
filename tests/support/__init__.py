"""What the tests of all three packages, and the demo, stand on: servers, clients, items, commands."""
