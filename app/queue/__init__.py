"""The storeroom: all SQL of the product. One contract, one engine a file."""
