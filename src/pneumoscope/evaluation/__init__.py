"""The acceptance test: labelled cases in, how good the model is on them out, with intervals."""
