"""Where pictures come from, a room for each place; every one hands over `SplitPictures`."""
