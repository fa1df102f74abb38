"""A site's own privacy lock: its policy, what it makes of a model, what that costs, and the record of what it gave."""
