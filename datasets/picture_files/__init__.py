"""Picture files of every kind: how each stores its picture, decoded whole or in windows, where it lies on the Earth."""
