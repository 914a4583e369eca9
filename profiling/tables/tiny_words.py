"""Words and goods of the generated shop (`tiny`): categories, titles, queries, review sentences. Data only."""

from __future__ import annotations

GOODS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], float]] = {
    "Food > Coffee": (
        ("coffee", "dark roast", "espresso", "ground coffee"),
        ("Marlowe", "Vesta"),
        (
            "Dark Roast Whole Bean Coffee 1 kg",
            "Ground Filter Coffee Medium Roast 500 g",
            "Espresso Capsules Pack of 30",
            "Decaf Ground Coffee 250 g",
            "Cold Brew Coffee Concentrate 1 l",
            "Single Origin Ethiopian Coffee Beans 250 g",
            "Instant Coffee Granules Jar 200 g",
        ),
        9.0,
    ),
    "Food > Tea": (
        ("tea", "green tea", "herbal tea", "loose leaf"),
        ("Harrow", "Vesta"),
        (
            "Green Tea Sencha Loose Leaf 100 g",
            "English Breakfast Black Tea 80 Bags",
            "Herbal Tea Chamomile 20 Bags",
            "Earl Grey Tea with Bergamot 50 Bags",
            "Rooibos Tea Vanilla 40 Bags",
            "Matcha Green Tea Powder 50 g",
            "Fruit Infusion Wild Berry Tea 20 Bags",
        ),
        6.0,
    ),
    "Home > Kitchen": (
        ("frying pan", "kitchen knife", "kettle", "coffee maker"),
        ("Bramble", "Oslo Works"),
        (
            "Cast Iron Frying Pan 28 cm",
            "Chef Kitchen Knife 20 cm",
            "Stainless Steel Electric Kettle 1.7 l",
            "French Press Coffee Maker 8 Cups",
            "Ceramic Mixing Bowl Set of 3",
            "Wooden Chopping Board Large",
            "Nonstick Baking Tray Pair",
        ),
        32.0,
    ),
    "Garden > Tools": (
        ("garden shears", "spade", "watering can", "plant pots"),
        ("Fernhill", "Tarn"),
        (
            "Steel Garden Spade with Ash Handle",
            "Pruning Shears for Roses",
            "Watering Can 10 l Green",
            "Terracotta Plant Pots Set of 6",
            "Garden Hose 25 m with Nozzle",
            "Leather Gardening Gloves",
            "Folding Hand Rake",
        ),
        24.0,
    ),
    "Sport > Running": (
        ("running shoes", "trail shoes", "running jacket", "sports watch"),
        ("Kestrel", "Aerolane"),
        (
            "Lightweight Road Running Shoes",
            "Trail Running Shoes Waterproof",
            "Windproof Running Jacket Reflective",
            "Compression Running Socks Pair",
            "Running Belt with Bottle",
            "GPS Sports Watch",
            "Headlamp for Night Running",
        ),
        70.0,
    ),
    "Toys > Puzzles": (
        ("jigsaw puzzle", "puzzle for kids", "brain teaser", "board game"),
        ("Pogo", "Lumen"),
        (
            "Jigsaw Puzzle 1000 Pieces Mountain Lake",
            "Wooden Puzzle for Kids Animals",
            "Metal Brain Teaser Set",
            "Family Board Game Harbour Traders",
            "3D Puzzle Cathedral 300 Pieces",
            "Magnetic Travel Chess Set",
            "Logic Cube 3x3 Speed",
        ),
        19.0,
    ),
}
"""Category path: (queries asked there, brands cheap and dear, titles, base price)."""

COLOURS = ("black", "green", "blue", "red")
PRAISE = (
    "Love it, excellent quality and fast delivery.",
    "Great value, exactly what I was looking for, works perfectly.",
    "Very good, sturdy and well made, would buy again.",
)
MIDDLING = ("It is fine, does the job but nothing special.", "Average quality, okay for the price.")
BLAME = (
    "Terrible quality, broke after two days, very disappointed.",
    "Waste of money, arrived damaged and the smell is awful.",
    "Poor packaging and bad taste, I want a refund.",
)
HAPPY = (
    "Superb, my favourite shop.",
    "Beautiful colour and so comfortable.",
    "Arrived early and well packed, thank you.",
    "Perfect gift, my sister was delighted.",
    "Delicious, we order it every month.",
)
UNHAPPY = (
    "Never again, useless thing.",
    "The handle came off on the first day.",
    "Wrong colour and nobody answers my mails.",
    "Cheap plastic, cracked at once.",
    "Tastes stale, went straight to the bin.",
)
