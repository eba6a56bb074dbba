"""Outcomes: what is measured on a finished run, one file each.

The numbers are computed from predictions and likelihoods, without torch. Only `quantized` needs a model.
"""
