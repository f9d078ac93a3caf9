"""``moorage chat``: a conversation with any agent, in a terminal or through pipes.

``typed`` reads what a person types, ``situation`` knows what runs and what is asked, ``screen``
makes text of events; these three are pure. ``keyboard`` reads lines without holding up the event
loop, ``conversing`` puts all of it around a session, ``slash`` does what begins with a slash, and
``places`` knows which session belongs where.
"""
