"""From entities to tensors: molecules, omics, text, structure. Whatever is fitted is fitted on the
train role.
"""
