//! What real cameras say to DESCRIBE, SETUP and PLAY, as it was recorded.
