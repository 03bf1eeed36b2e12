"""Bars in files: one reader for ingest, training and evaluation.

`content` opens the bytes, `layout` finds the columns, `tables` hands them out in blocks, `times`
and `cells` read what stands in them, `rows` gathers it, `bars` judges it by the rules of live bars.
"""
