"""Studies: read a data set, certify it, and write down what was found.

`data` reads, `certify` computes, `report` and `figures` show, `instances` keeps what the judge objected to.
"""
