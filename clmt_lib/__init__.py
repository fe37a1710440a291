"""Multimodal contrastive learning for drug response, small enough to read in an evening.

The rooms, in the order data flows through them: `data`, `views`, `nn`, `audit`, `metrics`,
`training`, `models`, `records`, `exercises`, `cli`;
`plotting` reads results only. Nothing heavy is imported here.
"""

__version__ = "0.1.0"
