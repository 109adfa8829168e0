"""Why a network answered as it did: attributions of any black box, and how faithful they are."""
