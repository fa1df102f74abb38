"""What is wrong in the network, and archives of logs for whoever has to find out more: no web in it."""
