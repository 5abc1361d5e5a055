"""What is wrong with a trained model: collapse, hubs, embeddings, the words and queries that fail, where words look."""
