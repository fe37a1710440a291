"""The predictors every model must stand beside (chapter 08)."""
