//! Where we answer otherwise on purpose. Each entry is checked to differ still, so that the table stays true.
