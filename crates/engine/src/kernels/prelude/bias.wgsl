// A bias is added at the exponent of the larger of the two, so that it keeps its bits.

const BIAS_HEADROOM = 4; // bits by which a bias's mantissas may grow
