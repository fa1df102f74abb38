"""What is wrong with a network, whose fault it is, and what to do: the examinations that need no terminal.

Every examination is a function from facts to findings (`findings.py`). The network is examined from here (`contact.py`,
`sight.py`) and, by asking the nodes, from each of them (`network.py`); `matrix.py` says from who reaches whom where the
fault is. What is read from a host's own files is `cli/doctor/`.
"""
