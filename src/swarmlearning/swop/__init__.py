"""The Swarm Operator node: carries out its site's part of the tasks of one taskrunner, as the site's policy allows."""
