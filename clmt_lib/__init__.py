"""Multimodal contrastive learning for drug response, small enough to read in an evening.

The rooms, in the order data flows through them: `io`, `config`, `data`, `views`, `tasks`, `nn`,
`audit`, `training`, `models`, `records`, `cli`; `book` holds what only the pages need.
Nothing heavy is imported here.
"""

__version__ = "0.1.0"
