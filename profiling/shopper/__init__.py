"""One shopper: interests, way of buying, habits, tags, and the profile that holds them."""
