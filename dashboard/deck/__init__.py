"""Deck of presenter mode: stops that tell the story of the lab in a lecture room, one screen each."""
