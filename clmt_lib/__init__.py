"""Multimodal contrastive learning for drug response: the library behind the book.

The rooms, in the order data flows through them: `io`, `config`, `data`, `views`, `tasks`, `nn`,
`audit`, `training`, `models`, `records`, `cli`; `book` holds what only the pages need.
Nothing heavy is imported here.
"""

__version__ = "0.1.0"
