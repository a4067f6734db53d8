"""The words of the simulated shop: hobbies, backgrounds, and titles that a language model can read."""

from typing import Final

import numpy as np

# hobby -> (things, qualities): titles are made of them, so that a title tells its genre.
HOBBIES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "gardening": (
        ("Orchard", "Rose", "Greenhouse", "Seedling", "Compost", "Hedge", "Tulip", "Trowel", "Meadow", "Ivy"),
        ("Blooming", "Rooted", "Evergreen", "Fertile", "Wild", "Pruned", "Sunlit", "Thorny"),
    ),
    "astronomy": (
        ("Comet", "Telescope", "Nebula", "Orbit", "Planet", "Eclipse", "Galaxy", "Meteor", "Moon", "Star"),
        ("Distant", "Lunar", "Stellar", "Cosmic", "Infinite", "Dark", "Burning", "Silent"),
    ),
    "cooking": (
        ("Kitchen", "Oven", "Recipe", "Saffron", "Bread", "Soup", "Feast", "Pepper", "Noodle", "Skillet"),
        ("Spicy", "Roasted", "Sweet", "Salted", "Homemade", "Crispy", "Smoked", "Hungry"),
    ),
    "sailing": (
        ("Harbour", "Anchor", "Mast", "Tide", "Lighthouse", "Compass", "Voyage", "Keel", "Lagoon", "Captain"),
        ("Stormy", "Windward", "Coastal", "Drifting", "Salty", "Northern", "Open", "Restless"),
    ),
    "music": (
        ("Violin", "Melody", "Drum", "Chorus", "Piano", "Rhythm", "Opera", "Ballad", "Guitar", "Encore"),
        ("Electric", "Acoustic", "Loud", "Velvet", "Singing", "Golden", "Broken", "Midnight"),
    ),
    "climbing": (
        ("Summit", "Ridge", "Glacier", "Rope", "Cliff", "Boulder", "Peak", "Canyon", "Crevasse", "Ascent"),
        ("Frozen", "Steep", "Granite", "Vertical", "High", "Lonely", "Rugged", "Fearless"),
    ),
    "chess": (
        ("Gambit", "Bishop", "Endgame", "Pawn", "Knight", "Queen", "Checkmate", "Opening", "Rook", "Castle"),
        ("Patient", "Royal", "Brilliant", "Forced", "Sacrificed", "Hidden", "Sicilian", "Cunning"),
    ),
    "cycling": (
        ("Pedal", "Saddle", "Sprint", "Peloton", "Wheel", "Gravel", "Tour", "Chain", "Descent", "Courier"),
        ("Fast", "Winding", "Muddy", "Breakaway", "Steel", "Dusty", "Endless", "Roaring"),
    ),
}
# In order of generosity, the most generous first; the price level that they look for rises alongside.
BACKGROUNDS: Final = ("student", "professional", "collector", "teacher", "retiree", "critic")
PRICES: Final = ("cheap", "moderate", "expensive")


def titles(hobby: str, count: int, rng: np.random.Generator) -> list[str]:
    """`count` different titles for items of `hobby`; a numeral tells apart what words no longer do."""
    things, qualities = HOBBIES[hobby]
    stock = [f"The {quality} {thing}" for quality in qualities for thing in things]
    stock += [f"{quality} {one} and {other}" for quality in qualities for one in things for other in things
              if one < other]  # fmt: skip
    shuffled = [stock[i] for i in rng.permutation(len(stock))]
    volumes = -(-count // len(stock))
    return [title if volume == 1 else f"{title}, volume {volume}"
            for volume in range(1, volumes + 1) for title in shuffled][:count]  # fmt: skip
