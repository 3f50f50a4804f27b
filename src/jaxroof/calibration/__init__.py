"""Constants fitted by gradients, with intervals; gradient against grid."""
