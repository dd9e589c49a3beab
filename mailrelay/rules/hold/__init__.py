"""What a person must see before it is filed (I2, I23)."""
