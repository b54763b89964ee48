"""Sessions of events, and the Foundation and Defense sets made of them."""
