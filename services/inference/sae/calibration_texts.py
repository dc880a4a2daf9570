"""The doctor's texts: written for Hearth, varied in subject, register, language and form, and never trained on."""

from __future__ import annotations

TEXTS: tuple[str, ...] = (
    "The harbour wakes before the town does. By five the first boats have come in, and the gulls "
    "follow them up the slip, quarrelling over whatever the crews throw out. On the quay a woman in "
    "a yellow coat counts crates, writes a number on her palm, and counts them again.",
    "Photosynthesis turns light into chemical energy. In the first stage, pigments in the thylakoid "
    "membrane absorb photons and split water, which releases oxygen; in the second, the cell spends "
    "the energy it has stored to bind carbon dioxide into sugars.",
    "In 1848 revolts broke out in more than fifty states of Europe within a few months. Most of them "
    "failed, yet serfdom ended in Austria and Hungary, absolute monarchy ended in Denmark, and "
    "parliaments met where none had met before.",
    "def median(values):\n    ordered = sorted(values)\n    middle = len(ordered) // 2\n"
    "    if len(ordered) % 2:\n        return ordered[middle]\n"
    "    return (ordered[middle - 1] + ordered[middle]) / 2\n",
    "To make the dough, dissolve the yeast in warm water with a spoonful of honey and wait until it "
    "foams. Add flour, olive oil and salt, knead for ten minutes, and let it rise under a damp "
    "cloth until it has doubled in size.",
    "I told my brother that the car would not start again, and he laughed so hard that he dropped "
    "the phone. Very funny. It took us three hours, two neighbours and one very patient mechanic to "
    "find out that the tank was empty.",
    "The committee shall meet at least twice a year. A majority of its members forms a quorum. "
    "Decisions are taken by simple majority; in the event of a tie, the chair has the casting vote. "
    "Minutes are published within thirty days.",
    "La pluie tombait depuis le matin sur les toits de la vieille ville. Derrière la vitre, un "
    "enfant suivait du doigt les gouttes qui descendaient, et pariait en silence sur celle qui "
    "arriverait la première.",
    "Patients with a fever above 39 degrees, a stiff neck or a rash should be seen the same day. For "
    "all others, rest, plenty of fluids and paracetamol are enough; antibiotics do not help against "
    "a virus.",
    "Let x and y be real numbers with x + y = 10 and xy = 21. Then (x - y)^2 = (x + y)^2 - 4xy = 100 "
    "- 84 = 16, so the difference is 4, and the two numbers are 7 and 3.",
    "O river, slow beneath the willow's hair,\nwhat do you carry that you will not say?\n"
    "The moon lies down upon you like a prayer,\nand you, unmoved, go on and bear away.",
    "Shares of the airline fell 7.4 percent on Tuesday after it warned that higher fuel prices and a "
    "shortage of pilots would cut its profit for the year. Analysts had expected a loss of 12 cents "
    "a share; the company now expects 30.",
    "Der Zug nach Hamburg hat heute etwa zwanzig Minuten Verspätung. Reisende mit Anschluss an die "
    "Fähre werden gebeten, sich am Schalter im Erdgeschoss zu melden.",
    "The referee looked at his watch, then at the corner flag, and let them take it. The ball curled "
    "in, nobody reached it, and it struck the inside of the far post. For a moment the whole "
    "stadium was quiet.",
    '<ul>\n  <li><a href="/about">About us</a></li>\n  <li><a href="/prices">Prices</a></li>\n'
    '  <li><a href="/contact">Contact</a></li>\n</ul>\n',
    "Saturn's rings are made almost wholly of water ice, in pieces from the size of dust to that of "
    "a house. They are some 280,000 kilometres across, but in most places only about ten metres "
    "thick.",
    "Dear Ms Alvarez, thank you for your letter of 3 May. We are sorry to hear that the parcel "
    "arrived damaged. A replacement left our warehouse this morning, and you need not send the "
    "broken one back. Yours sincerely, J. Holm",
    "Faith, she said, was not the opposite of doubt. She prayed as others go for a walk: without a "
    "destination, in any weather, and mostly in order to come home again.",
    "SELECT city, COUNT(*) AS orders\n"
    "FROM customers JOIN orders ON orders.customer_id = customers.id\n"
    "WHERE orders.placed_at >= '2021-01-01'\nGROUP BY city\nORDER BY orders DESC;\n",
    "Why do cats purr? Nobody knows for certain. They purr when they are content, but also when they "
    "are hurt or giving birth, and some biologists think that the low vibration may help bones and "
    "wounds to heal.",
    "Once upon a time there was a miller who owned nothing but a cart, a blind horse and a debt. One "
    "evening a stranger knocked, shook the snow from his boots, and asked for a bed and a story.",
    "Warning: the bridge is closed to vehicles over 3.5 tonnes until further notice. Follow the "
    "signs for the diversion through Mill Lane, and allow an extra fifteen minutes for your "
    "journey.",
    "El mercado abre los sábados a las siete. Hay tomates de la huerta, queso de cabra, pan recién "
    "hecho y un viejo que vende relojes que no funcionan.",
    "A good argument states what would change its author's mind. If nothing could, then it is not an "
    "argument but an announcement, however many footnotes it carries.",
)
"""Plain text, as a model is trained on it."""

CHATS: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("user", "Can you recommend a board game for two people who hate losing?"),
        (
            "assistant",
            "Try a cooperative one: in Pandemic or The Crew you win or lose together. If that goes well, "
            "Codenames Duet is short and friendly too.",
        ),
    ),
    (
        ("system", "You are a careful assistant who answers in one or two sentences."),
        ("user", "What is the difference between weather and climate?"),
        ("assistant", "Weather is what the sky does today; climate is what it does on average over decades."),
    ),
    (
        ("user", "i feel really down today and dont know who to talk to"),
        (
            "assistant",
            "I'm sorry that today is so heavy. Would it help to tell me what happened, or would you rather "
            "think of someone near you whom we could write a message to?",
        ),
    ),
    (
        ("user", "Write a haiku about a broken umbrella."),
        ("assistant", "Inside out at last,\nit waves to the passing clouds.\nI am wet and laugh."),
        ("user", "Another one, but sadder."),
        ("assistant", "Left beside the bin,\nfour bent ribs and a torn wing.\nIt rains on it still."),
    ),
    (
        ("user", "My Python script says 'list index out of range'. What does that mean?"),
        (
            "assistant",
            "You asked for an element that the list does not have. A list of three has the indices 0, 1 and "
            "2, so `items[3]` fails; print `len(items)` just before the line to see how long it is.",
        ),
    ),
    (
        ("user", "Translate to French: 'Where is the nearest pharmacy?'"),
        ("assistant", "« Où se trouve la pharmacie la plus proche ? »"),
    ),
)
"""Conversations of (role, content) messages, put through the tokenizer's chat template where it has one."""
